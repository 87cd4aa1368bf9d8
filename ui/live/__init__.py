"""What stands around the view of a live recording: its recorder, its temporary place, alarms."""
