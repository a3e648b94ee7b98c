//! A finished picture.

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use crate::show::html::Html;

/// A drawn picture: an SVG that needs nothing from outside, and words for those who do not see it.
///
/// As the last expression of a notebook cell it shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub(super) svg: String,
    pub(super) alt: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Picture {
    /// The picture as an SVG document. Heat maps are PNG images inside it.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// What the picture shows, in a sentence or two.
    pub fn alt(&self) -> &str {
        &self.alt
    }

    /// Width and height in CSS pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Writes the SVG to a file.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        files::write_atomic(path, |file| file.write_all(self.svg.as_bytes()).map_err(Error::io("write", path)))
    }

    /// The picture as an `<img>` with a data URL, to be put into rows, grids and cards.
    ///
    /// Not as inline SVG, which JupyterLab removes from a notebook that is not trusted yet.
    pub fn html(&self) -> Html {
        Html::image("image/svg+xml", self.svg.as_bytes(), &self.alt, self.width, self.height)
    }

    /// Shows the picture in an evcxr notebook, which calls this on a cell's last expression.
    pub fn evcxr_display(&self) {
        self.html().evcxr_display();
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}×{}: {})", self.width, self.height, self.alt)
    }
}
