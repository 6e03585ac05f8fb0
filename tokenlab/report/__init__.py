"""Results as people and programs read them: text, JSON and HTML pages."""
