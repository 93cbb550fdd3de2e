//! What devices are told of the operator's Wi-Fi, and what their credentials are like.

use async_trait::async_trait;
use homeward_model::{ClassId, Mac, OffloadPolicy, PolicyScope};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// Its key in the datastore.
    pub id: i64,
    /// Whom it is for.
    pub scope: PolicyScope,
    /// What it says.
    pub policy: OffloadPolicy,
}

/// Policies. One of a class of service goes with the class.
#[async_trait]
pub trait Policies: Send + Sync {
    /// Sets the policy of a scope, in place of the one there was. It must pass
    /// [`OffloadPolicy::check`], and the class of service exist.
    async fn set_policy(&self, scope: PolicyScope, policy: &OffloadPolicy) -> Result<()>;
    /// The policy of that scope itself.
    async fn policy(&self, scope: PolicyScope) -> Result<Option<OffloadPolicy>>;
    /// All policies, in the order of their scopes.
    async fn policies(&self) -> Result<Vec<(PolicyScope, OffloadPolicy)>>;
    /// Takes the policy of a scope away.
    async fn clear_policy(&self, scope: PolicyScope) -> Result<bool>;

    /// The policy that counts for a device of an account of that class of service, and whose it
    /// is.
    async fn policy_for(
        &self,
        class: ClassId,
        mac: Mac,
    ) -> Result<Option<(PolicyScope, OffloadPolicy)>> {
        for scope in [PolicyScope::Mac(mac), PolicyScope::Class(class), PolicyScope::Default] {
            if let Some(policy) = self.policy(scope).await? {
                return Ok(Some((scope, policy)));
            }
        }
        Ok(None)
    }
}
