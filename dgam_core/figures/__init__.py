"""From records to tables, figures and sentences of a page."""
