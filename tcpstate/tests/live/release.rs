//! `release` on the real kernel: each step, each refusal, with a client of the port and a
//! bystander that live on.

mod comeback;
mod dashboard;
mod killers;
mod managers;
mod races;
mod reading;
mod refusals;
mod runtimes;
mod stage;
mod steps;
