"""What makes files of this repository from its code."""
