//! One function per behaviour, run on each datastore. A further datastore is one more module in
//! the macro.

mod accounts;
mod audit;
mod bearers;
mod classes;
mod devices;
mod enrolment;
mod gateways;
mod issuing;
mod logins;
mod moves;
mod networks;
mod outbox;
mod policies;
mod roaming;
mod subscribers;

/// Runs each behaviour of a module on each datastore.
macro_rules! on_each_store {
    ($($behaviour:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour($crate::world::World::sqlite().await).await;
            })+
        }
        mod memory {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour($crate::world::World::memory()).await;
            })+
        }
    };
}
use on_each_store;
