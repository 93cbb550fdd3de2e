//! The messages between a device and the portal, and their forms.
