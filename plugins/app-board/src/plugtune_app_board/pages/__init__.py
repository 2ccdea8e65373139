"""The tabs of the board, one file each."""
