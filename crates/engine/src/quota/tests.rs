use super::*;

/// A circuit with one place where it waits.
fn waiting(quota: &Arc<Quota>, bytes: usize) -> (Arc<Account>, Arc<Hold>) {
    let account = quota.account();
    let hold = Hold::new(&account);
    hold.charge(bytes);
    (account, hold)
}

fn paused(quota: &Arc<Quota>, bytes: usize) -> (Arc<Account>, Arc<Hold>) {
    let (account, hold) = waiting(quota, bytes);
    hold.pause();
    (account, hold)
}

#[test]
fn what_is_held_is_counted_and_nothing_is_left_of_it() {
    let quota = Quota::new(1000);
    let (account, hold) = waiting(&quota, 300);
    let other = Hold::new(&account);
    other.charge(200);
    assert_eq!(quota.used(), 500);
    hold.release(100);
    // More than there is.
    other.release(900);
    assert_eq!((quota.used(), hold.held(), other.held()), (200, 200, 0));
    other.block(70);
    other.block(60);
    assert_eq!(quota.used(), 270);
    other.clear();
    assert_eq!(quota.used(), 200);
    // A stream that ends, while its circuit goes on.
    other.charge(40);
    drop((account, other));
    assert_eq!(quota.used(), 200);
    drop(hold);
    assert_eq!(quota.used(), 0);
}

#[test]
fn the_circuit_that_was_paused_longest_goes_first_and_no_more_than_must() {
    let quota = Quota::new(1000);
    let circuits: Vec<_> = (0..10).map(|_| waiting(&quota, 100)).collect();
    for at in [3, 1, 4, 5, 9] {
        circuits[at].1.pause();
    }
    let reset = || (0..10).filter(|at| circuits[*at].0.is_reset()).collect::<Vec<_>>();
    assert_eq!((reset(), quota.used()), (vec![], 1000));
    let (_account, more) = waiting(&quota, 1);
    assert_eq!((reset(), quota.used()), (vec![3], 901));
    more.charge(250);
    assert_eq!((reset(), quota.used()), (vec![1, 3, 4], 951));
    // What pauses later comes after those that were there.
    circuits[0].1.pause();
    more.charge(200);
    assert_eq!((reset(), quota.used()), (vec![1, 3, 4, 5, 9], 951));
    more.charge(100);
    assert_eq!((reset(), quota.used()), (vec![0, 1, 3, 4, 5, 9], 951));
    // Nobody is paused any more: who is not goes on, whatever he holds.
    more.charge(700);
    assert_eq!((reset().len(), quota.used()), (6, 1651));
    // A pause that begins then may be that of the one that asks.
    more.pause();
    assert!(more.account.is_reset());
    assert_eq!(quota.used(), 400);
}

#[test]
fn a_pause_is_over_when_all_that_waited_is_gone_and_no_sooner() {
    let quota = Quota::new(1000);
    let (slow, honest) = (paused(&quota, 400), paused(&quota, 400));
    for _ in 0..99 {
        // It takes a little, and more comes.
        slow.1.release(4);
        slow.1.charge(4);
        slow.1.pause();
    }
    assert_eq!(slow.1.pause_number(), Some(1));
    honest.1.release(400);
    assert_eq!(honest.1.pause_number(), None);
    honest.1.charge(400);
    honest.1.pause();
    let (_account, _more) = waiting(&quota, 300);
    assert!(slow.0.is_reset() && !honest.0.is_reset());
    // Taken whole, a pause is forgotten although more has come meanwhile.
    let (account, hold) = paused(&quota, 200);
    hold.charge(50);
    hold.release(200);
    assert_eq!((hold.held(), hold.pause_number()), (50, None));
    drop(account);
}

#[test]
fn a_circuit_that_is_reset_counts_no_more_whatever_it_still_does() {
    let quota = Quota::new(1000);
    let (account, hold) = paused(&quota, 900);
    let late = Hold::new(&account);
    late.charge(50);
    let (_other, _more) = waiting(&quota, 100);
    assert!(account.is_reset());
    assert_eq!(quota.used(), 100);
    late.charge(30);
    late.pause();
    hold.release(500);
    hold.charge(5000);
    assert_eq!(quota.used(), 100);
    drop((hold, late, account));
    assert_eq!(quota.used(), 100);
}

#[tokio::test]
async fn the_task_of_a_circuit_hears_that_it_has_to_go() {
    let quota = Quota::new(100);
    let (account, _hold) = paused(&quota, 90);
    let task = tokio::spawn({
        let account = Arc::clone(&account);
        async move { account.reset().await }
    });
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    let (_other, _more) = waiting(&quota, 20);
    tokio::time::timeout(std::time::Duration::from_secs(10), task)
        .await
        .unwrap()
        .unwrap();
    account.reset().await;
}

/// The lists forget what is gone: a relay that lives long does not grow.
#[test]
fn holds_that_are_gone_are_forgotten() {
    let quota = Quota::new(1000);
    for _ in 0..10_000 {
        drop(paused(&quota, 10));
    }
    assert!(lock(&quota.paused).holds.items.len() <= 2 * WeakList::<Hold>::LEAST);
    assert_eq!(quota.used(), 0);
}

/// From several threads at once, in no order: the sum is right in the end, and below the quota whenever nobody is in the middle of something.
#[test]
fn the_sum_is_right_after_any_number_of_threads() {
    let quota = Quota::new(50_000);
    let threads: Vec<_> = (0..4_u64)
        .map(|seed| {
            let quota = Arc::clone(&quota);
            std::thread::spawn(move || {
                use rand_core::Rng;
                let mut rng = anonnet_testkit::rng(seed);
                let mut circuits: Vec<(Arc<Account>, Arc<Hold>)> = Vec::new();
                for _ in 0..50_000 {
                    let (what, bytes) = (rng.next_u32() % 8, (rng.next_u32() % 1000) as usize);
                    let at = rng.next_u32() as usize % circuits.len().max(1);
                    match (what, circuits.get(at)) {
                        (0, _) | (_, None) => circuits.push(paused(&quota, bytes)),
                        (1, _) => drop(circuits.swap_remove(at)),
                        (2 | 3, Some((_, hold))) => hold.charge(bytes),
                        (4 | 5, Some((_, hold))) => hold.release(bytes),
                        (6, Some((_, hold))) => hold.clear(),
                        (_, Some((_, hold))) => hold.pause(),
                    }
                    circuits.iter().for_each(|(_, hold)| hold.pause());
                    assert!(quota.used() < 60_000, "{}", quota.used());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(quota.used(), 0);
}
