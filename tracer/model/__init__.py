"""What a record means: its layout, its words, its text form. No bcc, no Textual, no root."""
