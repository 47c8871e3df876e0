"""params.yaml as a whole: experiments by name, consistency, reading and messages."""
