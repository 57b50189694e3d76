"""What users see and do by ad-hoc commands."""
