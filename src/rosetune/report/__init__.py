"""What a person reads of finished runs: tables on the terminal, and figures. Nothing here loads torch."""
