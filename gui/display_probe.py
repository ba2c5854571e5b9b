"""A program that opens a small window, draws once and ends; status 0 if that works."""

from typing import Any

import dearpygui.dearpygui as dearpygui  # pyright: ignore[reportMissingImports]

#: its type hints say that containers are numbers
dpg: Any = dearpygui

if __name__ == "__main__":
    dpg.create_context()
    dpg.create_viewport(title="Stillsplat", width=120, height=100, decorated=False)
    dpg.setup_dearpygui()
    dpg.show_viewport(minimized=True)
    dpg.render_dearpygui_frame()
    dpg.destroy_context()
