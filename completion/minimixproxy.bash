# Completion of minimixproxy's commands. Written by tools/draw_commands.py: do not edit.

_minimixproxy() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} options= files=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "check status reload enroll forget block unblock blocked drain backup migrate --help --version" -- "$word"))
        return
    fi
    case ${COMP_WORDS[1]} in
        check) options="--config -c --json --offline --login --strict" files="--config -c" ;;
        status) options="--config -c --json --account --room --state --all --socket" files="--config -c --socket" ;;
        reload) options="--config -c --json" files="--config -c" ;;
        enroll) options="--config -c --json --from-prosody --from-sql --domain" files="--config -c --from-prosody" ;;
        forget) options="--config -c --json" files="--config -c" ;;
        block) options="--config -c --json --reason" files="--config -c" ;;
        unblock) options="--config -c --json" files="--config -c" ;;
        blocked) options="--config -c --json" files="--config -c" ;;
        drain) options="--config -c --json --timeout --no-wait --undo" files="--config -c" ;;
        backup) options="--config -c --json --force" files="--config -c operand" ;;
        migrate) options="--config -c --json --to" files="--config -c" ;;
        *) return ;;
    esac
    case " $files " in
        *" $before "*) compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
    case $word in
        -*) COMPREPLY=($(compgen -W "$options --help" -- "$word")) ;;
        *) case " $files " in *" operand "*) compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")) ;; esac ;;
    esac
}
complete -F _minimixproxy minimixproxy
