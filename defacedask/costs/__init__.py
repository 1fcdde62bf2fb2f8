"""What defacing costs the structures of a case: features, volumes and dose."""
