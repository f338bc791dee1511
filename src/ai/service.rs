//! Kinds of work that models do.

use super::call::Operation;

/// What a call wants done, whichever model does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Chat,
    Embedding,
    Rerank,
    /// Text to speech.
    Tts,
    /// Speech to text.
    Stt,
    Image,
    ImageEdit,
}

impl Service {
    /// In the order of [`Self::index`].
    pub const ALL: [Self; 7] = [
        Self::Chat,
        Self::Embedding,
        Self::Rerank,
        Self::Tts,
        Self::Stt,
        Self::Image,
        Self::ImageEdit,
    ];

    pub fn index(self) -> usize {
        self as usize
    }

    /// As the configuration and the metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embedding => "embedding",
            Self::Rerank => "rerank",
            Self::Tts => "tts",
            Self::Stt => "stt",
            Self::Image => "image",
            Self::ImageEdit => "image_edit",
        }
    }
}

impl Operation<'_> {
    /// `None` for what no model is asked for.
    pub fn service(&self) -> Option<Service> {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::CountTokens => Some(Service::Chat),
            Self::Embeddings => Some(Service::Embedding),
            Self::Rerank => Some(Service::Rerank),
            Self::Speech => Some(Service::Tts),
            Self::Transcriptions | Self::Translations => Some(Service::Stt),
            Self::ImageGenerations => Some(Service::Image),
            Self::ImageEdits => Some(Service::ImageEdit),
            Self::Models | Self::Model(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_told_apart_by_their_index() {
        assert!(Service::ALL.iter().enumerate().all(|(index, service)| service.index() == index));
    }
}
