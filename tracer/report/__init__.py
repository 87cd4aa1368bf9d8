"""What a report says about recordings, and its forms: terminal, JSON, CSV, one HTML file."""
