//! Classes of service.

use async_trait::async_trait;
use homeward_model::{ClassId, ClassOfService, Name, PolicyScope};

use super::{MemoryStore, State, policy};
use crate::change::{ClassChange, NewClass, Page};
use crate::check;
use crate::error::{Entity, Error, Result};
use crate::outbox::OutboxRecord;
use crate::store::Classes;

#[async_trait]
impl Classes for MemoryStore {
    async fn create_class(&self, new: &NewClass) -> Result<ClassOfService> {
        check::terms(&new.terms)?;
        self.write(|w| {
            free(w.state, &new.name, None)?;
            let id = ClassId(w.state.classes.next());
            let NewClass { name, coverage, terms, retention } = new.clone();
            let class = ClassOfService { id, name, coverage, terms, retention };
            w.state.classes.rows.insert(id.0, class.clone());
            w.created(OutboxRecord::Class(class.clone()));
            Ok(class)
        })
    }

    async fn update_class(&self, id: ClassId, change: &ClassChange) -> Result<ClassOfService> {
        self.write(|w| {
            let old = w.state.classes.need(Entity::Class, id.0)?.clone();
            let mut class = old.clone();
            change.apply(&mut class);
            check::terms(&class.terms)?;
            free(w.state, &class.name, Some(id))?;
            if *change != ClassChange::default() {
                w.state.classes.rows.insert(id.0, class.clone());
                let after = OutboxRecord::Class(class.clone());
                w.updated(OutboxRecord::Class(old), after, None);
            }
            Ok(class)
        })
    }

    async fn class(&self, id: ClassId) -> Result<Option<ClassOfService>> {
        Ok(self.read().classes.get(id.0).cloned())
    }

    async fn class_named(&self, name: &Name) -> Result<Option<ClassOfService>> {
        Ok(self.read().classes.values().find(|c| c.name == *name).cloned())
    }

    async fn classes(&self, page: Page<ClassId>) -> Result<Vec<ClassOfService>> {
        Ok(self.read().classes.page(page.after.map(|id| id.0), page.limit, |_| true))
    }

    async fn delete_class(&self, id: ClassId) -> Result<bool> {
        self.write(|w| {
            let count = w.state.accounts.values().filter(|a| a.class == id).count() as u64;
            if count > 0 {
                let (entity, by) = (Entity::Class, Entity::Account);
                return Err(Error::Referenced { entity, id: id.0, count, by });
            }
            let Some(class) = w.state.classes.get(id.0).cloned() else { return Ok(false) };
            policy::remove(w, PolicyScope::Class(id));
            w.state.classes.rows.remove(&id.0);
            w.deleted(OutboxRecord::Class(class));
            Ok(true)
        })
    }
}

fn free(state: &State, name: &Name, except: Option<ClassId>) -> Result<()> {
    match state.classes.values().find(|c| c.name == *name && Some(c.id) != except) {
        Some(_) => Err(Error::NameTaken { entity: Entity::Class, name: name.clone() }),
        None => Ok(()),
    }
}
