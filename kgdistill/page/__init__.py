"""The page: what a graph holds and what its runs recommend, as cards, pictures and tables in a browser."""

from kgdistill.page.serve import page_app, serve_page

__all__ = ["page_app", "serve_page"]
