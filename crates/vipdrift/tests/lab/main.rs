//! End-to-end tests: the real daemon on real kernels, with a real client, on a LAN inside this machine.
//! Time is measured elsewhere; here it is who holds the VIPs, what is said, and what is left behind.

mod bounds;
mod held;
mod identity;
mod support;

vipdrift_lab::tests![
    bounds::brain_killed_nothing_moves_and_nothing_is_lost,
    bounds::brain_hung_nothing_moves_and_nothing_is_lost,
    bounds::second_brain_death_within_ten_seconds_releases_and_resigns,
    bounds::keeper_killed_the_vip_goes_when_the_lease_ends,
    bounds::keeper_and_brain_killed_the_vip_goes_when_the_lease_ends,
    bounds::cable_pulled_another_node_takes_over,
    bounds::power_off_another_node_takes_over,
    bounds::silent_cut_the_active_node_lets_go_by_itself,
    bounds::graceful_stop_hands_over,
    bounds::strict_switchover_hands_over,
    bounds::hitless_switchover_loses_nothing,
    bounds::heartbeats_blocked_nothing_moves,
    bounds::foreign_holder_is_waited_for_and_named,
    bounds::partition_heals_to_one_holder,
    bounds::frozen_node_says_nothing_until_it_has_asked,
    held::vip_deleted_by_hand_is_mounted_again,
    held::vip_added_by_hand_on_a_standby_is_removed,
    held::leftover_vip_is_removed_at_start,
    held::other_addresses_are_never_touched,
    held::random_loss_moves_nothing,
    held::drain_and_undrain,
    held::drained_survives_a_restart,
    held::vips_are_never_source_addresses,
    held::the_brain_has_no_privileges,
    identity::wrong_key_has_no_effect_and_is_counted,
    identity::replayed_datagrams_have_no_effect_and_are_counted,
    identity::different_configuration_is_reported,
    identity::two_clusters_on_one_lan_do_not_meet,
    identity::nodes_started_at_once_never_hold_twice,
];
