"""What is printed: reports, audits and events as text, JSON, CSV, HTML and SARIF."""
