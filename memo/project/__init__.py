"""params.yaml as a whole: experiments by name, what does not go together, reading and messages."""
