"""Tables, figures and the page of a report, published numbers beside ours. Nothing here imports torch."""
