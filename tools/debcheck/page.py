"""Prints the first such block of a section of a page: page.py FILE HEADING LANGUAGE. `indented`: of no language."""

import re
import sys
import textwrap


def main(file: str, heading: str, language: str) -> None:
    with open(file, encoding="utf-8") as page:
        section = page.read().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    pattern = r"\n((?:    .*\n)+)" if language == "indented" else rf"```{language}\n(.*?)```"
    found = re.search(pattern, section, re.DOTALL if language != "indented" else 0)
    if found is None:
        raise SystemExit(f"{file} has no block of {language} in {heading!r}")
    print(textwrap.dedent(found[1]), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
