"""What is known of one head: body, brain, pose and template, and the witness, which shares nothing with a plan."""
