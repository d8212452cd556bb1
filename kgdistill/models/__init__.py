"""The models; nothing here reads files or stores."""
