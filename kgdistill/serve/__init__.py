"""The bundle: packing, files, answers without torch."""
