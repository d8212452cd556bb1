"""A run: its folder, stages, arms and artefacts."""
