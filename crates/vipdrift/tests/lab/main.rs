//! End-to-end tests: the real daemon on real kernels, with a real client, on a LAN inside this machine.
//! Time is measured elsewhere; here it is who holds the VIPs, what is said, and what is left behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod bounds;
mod browser;
mod demo;
mod doctor;
mod examples;
mod held;
mod identity;
mod journal;
mod keep;
mod load;
mod logs;
mod network;
mod package;
mod page;
mod picture;
mod placement;
mod real_services;
mod reload;
mod selftest;
mod services;
mod slow_disk;
mod support;
mod terminal;
mod top;

use bounds::*;
use demo::*;
use doctor::*;
use examples::*;
use held::*;
use identity::*;
use journal::*;
use keep::*;
use load::*;
use logs::*;
use network::*;
use package::*;
use page::*;
use placement::*;
use real_services::*;
use reload::*;
use selftest::*;
use services::*;
use slow_disk::*;
use top::*;

vipdrift_lab::tests![
    brain_killed_nothing_moves_and_nothing_is_lost,
    brain_hung_nothing_moves_and_nothing_is_lost,
    second_brain_death_within_ten_seconds_releases_and_resigns,
    keeper_killed_the_vip_goes_when_the_lease_ends,
    keeper_and_brain_killed_the_vip_goes_when_the_lease_ends,
    cable_pulled_another_node_takes_over,
    power_off_another_node_takes_over,
    silent_cut_the_active_node_lets_go_by_itself,
    graceful_stop_hands_over,
    service_killed_another_node_takes_over,
    strict_switchover_hands_over,
    hitless_switchover_loses_nothing,
    heartbeats_blocked_nothing_moves,
    foreign_holder_is_waited_for_and_named,
    partition_heals_to_one_holder,
    frozen_node_says_nothing_until_it_has_asked,
    the_page_tells_what_the_control_socket_tells,
    the_api_is_as_its_document_says,
    metrics_are_those_of_prometheus,
    alert_rules_pass_their_tests,
    the_stream_tells_as_it_happens,
    the_page_takes_orders_for_the_token_only,
    a_port_that_is_taken_keeps_nobody_from_holding,
    a_disk_that_hangs_keeps_nobody_but_itself,
    the_page_in_a_browser,
    the_package_on_two_clean_machines,
    doctor_finds_a_healthy_node_well,
    doctor_names_settings_of_the_kernel_and_of_the_firewall,
    doctor_and_kernel_agree_about_firewalls,
    doctor_asks_the_machines_where_no_daemon_runs,
    doctor_says_that_a_changed_file_is_not_in_force,
    vip_deleted_by_hand_is_mounted_again,
    networkd_restarted_twenty_times_and_the_vip_comes_back,
    vip_added_by_hand_on_a_standby_is_removed,
    leftover_vip_is_removed_at_start,
    other_addresses_are_never_touched,
    foreign_holder_of_one_vip_among_many_is_noticed,
    random_loss_moves_nothing,
    drain_and_undrain,
    drill_measures_there_and_back,
    drain_one_group_on_another_node,
    drain_during_a_partition,
    drained_survives_a_restart,
    a_cable_of_one_network_moves_the_groups_of_both,
    groups_that_are_apart_are_never_on_one_node,
    the_router_example_routes_by_either_machine,
    vips_are_never_source_addresses,
    the_brain_has_no_privileges,
    wrong_key_has_no_effect_and_is_counted,
    replayed_datagrams_have_no_effect_and_are_counted,
    different_configuration_is_reported,
    two_clusters_on_one_lan_do_not_meet,
    nodes_started_at_once_never_hold_twice,
    renamed_interface_gives_the_vip_up_before_another_takes_it,
    leftover_on_another_interface_is_removed_at_start,
    own_address_that_came_after_the_vip_outlives_it,
    drain_is_remembered_although_the_client_left,
    port_in_use_is_one_clear_error,
    missing_interface_is_one_clear_error,
    missing_privileges_are_one_clear_error,
    replayed_journals_give_the_same_decisions,
    altered_or_damaged_journal_is_told_with_its_place,
    journal_that_cannot_be_kept_is_said_and_hinders_nothing,
    failing_check_moves_the_vip_and_names_its_reason,
    deleted_check_program_moves_the_vip,
    hanging_check_program_moves_the_vip_and_leaves_no_process,
    service_process_that_dies_moves_the_vip,
    when_all_are_ill_the_holder_keeps_the_vip,
    demoting_check_moves_the_vip_to_a_healthy_node_only,
    checks_that_nobody_runs_do_not_pass,
    brain_killed_with_checks_nothing_moves,
    hooks_run_in_the_order_of_events,
    before_active_is_waited_for_and_may_refuse,
    fifty_flips_neither_reorder_hooks_nor_pile_them_up,
    hanging_hook_holds_nothing_up,
    the_last_hook_runs_when_every_process_is_told_to_end,
    a_hook_outlives_a_reload_and_the_next_one_waits_for_it,
    no_hook_runs_again_because_its_runner_died,
    decisions_are_kept_with_their_evidence_over_a_restart,
    nginx_dies_and_curl_hardly_notices,
    postgresql_dies_and_its_replica_takes_the_vip_and_the_writes,
    postgresql_of_the_example_is_promoted_before_the_vip_comes,
    check_program_deleted_beside_a_healthy_postgresql_moves_the_vip,
    planned_move_with_psql_in_a_loop_and_in_long_sessions,
    postgresql_dead_everywhere_and_the_holder_keeps_the_vip,
    rolling_reload_adds_a_vip_the_holder_first,
    rolling_reload_adds_a_vip_the_holder_last,
    files_that_differ_are_told_in_what_on_both_nodes_until_they_agree,
    a_reload_reads_as_one_in_the_log,
    reload_with_a_mistake_changes_nothing,
    reload_removes_vips_groups_and_nodes,
    reload_asks_the_network_for_new_vips,
    hanging_checks_a_full_log_and_busy_cores_move_nothing,
    changes_of_role_are_in_the_journal_with_their_fields,
    a_log_that_is_not_the_journal_goes_to_standard_error,
    many_hangups_in_a_row_do_no_harm,
    keys_are_changed_live,
    a_new_binary_takes_over_without_moving_the_vip,
    a_slow_binary_takes_over_within_the_time_to_keep,
    a_slow_binary_without_a_time_to_keep_loses_the_vip,
    a_binary_that_dies_on_its_way_leaves_the_vip_no_longer_than_that,
    without_a_lease_a_binary_that_dies_leaves_the_vip_no_longer_either,
    without_a_lease_vips_are_kept_and_live_for_ever_again,
    a_machine_that_dies_meanwhile_is_not_waited_for,
    checks_and_hooks_over_a_reload,
    selftest_measures_and_leaves_nothing,
    top_shows_the_roles_and_moves_a_group,
    top_names_what_is_wrong,
    top_gives_the_terminal_back_whatever_ends_it,
    top_outlives_the_daemon_and_finds_it_again,
    the_demo_tells_what_it_does,
];
