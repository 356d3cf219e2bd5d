"""The narrated toy world: real video files with transcripts and known truth."""
