"""What the page says, one part a file; each turns tables into `page.Table`s, figures and sentences."""
