"""What only the notebooks of chapter 1 need: arrangements, Table 1, searches, figures."""
