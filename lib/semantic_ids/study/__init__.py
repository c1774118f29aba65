"""What only the notebooks of chapter 2 need: arrangements, the paper's tables, peers, figures."""
