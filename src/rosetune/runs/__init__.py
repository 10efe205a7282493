"""What finished runs are: read from their folders, put into tables, compared. Nothing here loads torch."""
