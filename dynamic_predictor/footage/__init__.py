"""What a clip is made of, before anything is predicted: shots, frames that show nothing, and what never changes."""
