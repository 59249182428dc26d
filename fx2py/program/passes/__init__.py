"""The simplifications of ``-O``: one file a pass, each with the proof that what it leaves out or moves changes nothing."""
