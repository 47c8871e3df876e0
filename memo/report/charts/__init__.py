"""Charts, one function each: arrays and tables in, an Altair chart out.

No chart knows its width; `themes` says how it looks and where it is drawn.
"""
