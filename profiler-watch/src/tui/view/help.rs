//! The list of keys.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};

use super::{super::action::KEYS, super::screen::Screen, put};

pub fn draw(buffer: &mut Buffer, area: Rect, screen: &Screen) {
    const WIDTH: u16 = 64;
    let height = (KEYS.len() as u16 + 2).min(area.height);
    let width = WIDTH.min(area.width);
    let area =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    for row in 0..height {
        put(buffer, area, row, Line::from(" ".repeat(usize::from(width))));
        buffer.set_style(Rect { y: area.y + row, height: 1, ..area }, ratatui::style::Style::reset());
    }
    put(
        buffer,
        area,
        0,
        Line::from(Span::styled(format!("+{:-^1$}+", " keys ", usize::from(width) - 2), screen.theme.head())),
    );
    for (row, (keys, what)) in (1..height - 1).zip(KEYS) {
        let text = format!("| {keys:<18}{what}");
        put(buffer, area, row, Line::from(text));
        buffer.set_string(area.x + width - 1, area.y + row, "|", ratatui::style::Style::new());
    }
    put(
        buffer,
        area,
        height - 1,
        Line::from(Span::styled(format!("+{:-^1$}+", "", usize::from(width) - 2), screen.theme.head())),
    );
}
