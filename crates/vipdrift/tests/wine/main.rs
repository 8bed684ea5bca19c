//! The unmodified program for Windows, under wine, on hosts of the lab: pairs of it, and pairs with Linux. Judged only from
//! outside: by the kernels' addresses, a client, and the ARP table of a third host. `cargo xtask cross-check` runs this.
//! It shows that the program does the right things with the system's calls. It shows nothing about Windows.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod changes;
mod mistakes;
mod pairs;
mod service;
mod support;

use changes::*;
use mistakes::*;
use pairs::*;
use service::*;

vipdrift_lab::tests![
    a_pair_keeps_the_vip_and_drifts,
    a_mixed_pair_keeps_the_vip_and_drifts,
    a_pair_with_npcap_keeps_the_vip_and_drifts,
    killed_brain_and_the_vip_is_with_one_node,
    hung_brain_and_the_vip_is_with_one_node,
    killed_keeper_takes_its_brain_along_and_what_is_left_goes_at_the_next_start,
    a_killed_host_takes_keeper_and_brain_along,
    a_reload_adds_a_vip_and_drops_none,
    a_slow_host_begins_nobody_that_was_given_up,
    a_hook_outlives_the_keeper_that_began_it,
    a_restart_takes_the_program_from_its_file_and_moves_nothing,
    a_second_daemon_leaves_the_first_alone,
    commands_for_people_work,
    ;
    side_by_side:
    without_the_stand_in_nothing_is_mounted,
    mistakes_are_one_clear_error,
    a_description_that_means_two_cards_is_refused,
    without_administrators_rights_nothing_is_touched,
    the_brain_is_no_administrator,
    the_selftest_measures_and_leaves_nothing,
    the_service_runs_and_is_taken_away,
    the_installer_leaves_nothing_when_it_is_undone,
];
