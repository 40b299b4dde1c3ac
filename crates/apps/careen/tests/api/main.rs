//! The AWS API of the real server, told as stories: unmodified clients (the AWS CLI from PyPI, Terraform's AWS provider,
//! requests signed by botocore) against `careen server`, started as people start it.
//!
//! These tests decide whether the answers are AWS's. They know nothing of how the server comes to them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic, and so may what they share")]

mod activations;
mod baselines;
mod clients;
mod commands;
mod configuration;
mod doctor;
mod full_disk;
mod many_agents;
mod operation;
mod own_service;
mod pages;
mod patch_groups;
mod people;
mod predefined;
mod replicas;
mod server;
mod sight;
mod signatures;
mod terraform;
mod tls;
mod upgrade;
