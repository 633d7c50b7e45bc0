//! What a middle hop does with every cell: one layer, in place, one direction each.

use crate::error::RelayError;
use crate::limits::MAX_RELAY_EARLY;
use anonnet_cells::{BODY_LEN, Command, cells, split};
use anonnet_circuit::HopLayers;
use anonnet_crypto::cgo::RelayLayer;

/// Cells away from the client.
#[derive(Debug)]
pub struct ForwardPump {
    layer: RelayLayer<BODY_LEN>,
    early: u8,
}

impl ForwardPump {
    pub(crate) const fn new(layer: RelayLayer<BODY_LEN>, early: u8) -> Self {
        Self { layer, early }
    }

    /// Works on a run of whole cells in place; pass them on as they are then. An error ends the circuit, and nothing of the run may be passed on.
    /// [`RelayError::Recognised`]: this hop is not the last, so no cell is for it. [`RelayError::TooManyEarly`],
    /// [`RelayError::WrongCommand`], [`RelayError::Cell`].
    pub fn process(&mut self, run: &mut [u8]) -> Result<(), RelayError> {
        for cell in cells(run)? {
            let parts = split(cell)?;
            match parts.command {
                Command::Relay => {}
                Command::RelayEarly if self.early < MAX_RELAY_EARLY => self.early += 1,
                Command::RelayEarly => return Err(RelayError::TooManyEarly),
                command => return Err(RelayError::WrongCommand(command)),
            }
            if self.layer.forward(parts.command as u8, parts.tag, parts.body) {
                return Err(RelayError::Recognised);
            }
        }
        Ok(())
    }

    /// Gives back the memory that the keys take while in use; the next cell takes it again. For circuits that idle.
    pub fn rest(&mut self) {
        self.layer.rest();
    }
}

/// Cells towards the client.
#[derive(Debug)]
pub struct BackwardPump {
    layer: RelayLayer<BODY_LEN>,
}

impl BackwardPump {
    pub(crate) const fn new(layer: RelayLayer<BODY_LEN>) -> Self {
        Self { layer }
    }

    /// Works on a run of whole cells in place; pass them on as they are then. An error ends the circuit, and nothing of the run may be passed on.
    /// [`RelayError::WrongCommand`] for all but RELAY, [`RelayError::Cell`].
    pub fn process(&mut self, run: &mut [u8]) -> Result<(), RelayError> {
        for cell in cells(run)? {
            let parts = split(cell)?;
            if parts.command != Command::Relay {
                return Err(RelayError::WrongCommand(parts.command));
            }
            self.layer.pass_back(parts.command as u8, parts.tag, parts.body);
        }
        Ok(())
    }

    /// Gives back the memory that the keys take while in use; the next cell takes it again. For circuits that idle.
    pub fn rest(&mut self) {
        self.layer.rest();
    }
}

/// Cells from one of two joined circuits to the other, in one direction: what comes away from one client goes towards the other.
#[derive(Debug)]
pub struct SplicePump {
    from: RelayLayer<BODY_LEN>,
    to: RelayLayer<BODY_LEN>,
}

/// The pumps of two circuits that are joined: from the first to the second, and back.
pub fn splice(first: HopLayers, second: HopLayers) -> (SplicePump, SplicePump) {
    let there = SplicePump {
        from: first.forward,
        to: second.backward,
    };
    let back = SplicePump {
        from: second.forward,
        to: first.backward,
    };
    (there, back)
}

impl SplicePump {
    /// As [`BackwardPump::process`]: RELAY alone passes. [`RelayError::Recognised`]: nobody has anything to say to this hop any more.
    pub fn process(&mut self, run: &mut [u8]) -> Result<(), RelayError> {
        for cell in cells(run)? {
            let parts = split(cell)?;
            if parts.command != Command::Relay {
                return Err(RelayError::WrongCommand(parts.command));
            }
            if self.from.forward(parts.command as u8, parts.tag, parts.body) {
                return Err(RelayError::Recognised);
            }
            self.to.pass_back(parts.command as u8, parts.tag, parts.body);
        }
        Ok(())
    }

    /// Gives back the memory that the keys take while in use; the next cell takes it again. For circuits that idle.
    pub fn rest(&mut self) {
        self.from.rest();
        self.to.rest();
    }
}
