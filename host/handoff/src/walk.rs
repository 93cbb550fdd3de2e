//! What a device does by a line: it hops to a network, and has a flow admitted.

use std::time::Duration;

use homeward_keychain::{Device, DeviceKey, Flow, Refusal};
use homeward_model::{Entropy, Nai};

use crate::line::{Line, LineError, Said, Told};

/// Why a device does not get on.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// There is no answer.
    #[error(transparent)]
    Line(#[from] LineError),
    /// What was said to the device is not believed.
    #[error(transparent)]
    Chain(#[from] Refusal),
    /// It was refused.
    #[error("it was refused{}", if *again { ", for now" } else { "" })]
    Refused {
        /// Whether it may be different in a moment.
        again: bool,
    },
    /// Something else was answered than was asked.
    #[error("the answer is none to what was said")]
    Astray,
}

/// A network may ask twice: who the device is, and then where it was.
const CHALLENGES: usize = 2;

impl Line {
    /// Makes a hop to the network whose module this line is to. `broken` is whether to go on where
    /// the key of the hop before is missing.
    ///
    /// # Errors
    /// [`WalkError`]; the device is where it was.
    pub async fn hop(
        &mut self,
        device: &mut Device,
        name: &Nai,
        key: &DeviceKey,
        broken: bool,
        entropy: &mut (impl Entropy + Send),
    ) -> Result<(), WalkError> {
        let mut told = self.say(Said::Hello).await?;
        for _ in 0..CHALLENGES {
            let Told::Challenge(challenge) = told else { break };
            let response = device.answer(&challenge, name.clone(), key, entropy)?;
            told = self.say(Said::Response(Box::new(response))).await?;
        }
        match told {
            Told::Welcome(welcome) => Ok(device.integrate(&welcome, broken)?),
            Told::Refused { again } => Err(WalkError::Refused { again }),
            _ => Err(WalkError::Astray),
        }
    }

    /// Has the server that this line is to admit a flow; for how long it does.
    ///
    /// # Errors
    /// [`WalkError`].
    pub async fn open(&mut self, device: &mut Device, flow: &Flow) -> Result<Duration, WalkError> {
        let mut told = self.say(Said::Open(device.session(), flow.clone())).await?;
        if let Told::Demand(demand) = told {
            told = self.say(Said::Proof(device.prove(&demand, flow)?)).await?;
        }
        match told {
            Told::Admitted(_, span) => Ok(span),
            Told::Refused { again } => Err(WalkError::Refused { again }),
            _ => Err(WalkError::Astray),
        }
    }
}
