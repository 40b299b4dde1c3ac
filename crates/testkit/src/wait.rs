use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `condition` holds.
///
/// # Errors
/// When it does not hold within `bound`; the text names `what` was waited for.
pub fn wait_until(what: &str, bound: Duration, mut condition: impl FnMut() -> bool) -> anyhow::Result<()> {
    wait_for(what, bound, || condition().then_some(()))
}

/// Looks until `look` gives a value, and gives it on.
///
/// # Errors
/// When there is none within `bound`; the text names `what` was waited for.
pub fn wait_for<T>(what: &str, bound: Duration, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let until = Instant::now() + bound;
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if Instant::now() >= until {
            bail!("waited {:.1} s in vain for: {what}", bound.as_secs_f64());
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        wait_until("the third look", Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        })
        .unwrap();
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_wait_in_vain_says_for_what() {
        let error = wait_until("rain", Duration::from_millis(1), || false).unwrap_err();
        assert!(error.to_string().ends_with("in vain for: rain"), "{error}");
    }
}
