"""What all programs measure with: repetitions, figures and targets, tables, processes."""
