"""Text, JSON and CSV forms of tables. No root, no bcc; pyarrow tables in, strings out."""
