use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_nats::jetstream::{Context, ContextBuilder};
use futures_util::TryStreamExt;

use crate::broker::StartFault;
use crate::broker::nats::{Reachability, client_name, try_connect};
use crate::plan::{Nats, Plan, Source};
use crate::store::census::{Counts, Pending, Wanted};

const LOOK_EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon is noticed that nobody wants to know any more.
const NAP: Duration = Duration::from_millis(200);

/// Asks the stream now and then how many dead letters each subject has. All replicas see them all, and each
/// tells its share.
pub(in crate::store) fn start_census(
    plan: &Arc<Plan>,
    source: &Source,
    nats: &Nats,
    wanted: Wanted,
    emit: impl Fn(Pending) + Send + 'static,
) -> Result<(), StartFault> {
    let source_name = source.name.clone();
    let fault = |reason| StartFault::Thread { source_name: source_name.clone(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fault)?;
    let (plan, nats) = (plan.clone(), nats.clone());
    let name = client_name(&plan.name, &source_name);
    let reachability = Arc::new(Reachability::new(&source_name, &nats.servers));
    let run = async move {
        let mut told = None;
        while wanted.holds() {
            // Why not is said by the store, which has the same servers.
            let Ok(link) = try_connect(&name, &nats, &reachability).await else {
                rest(&wanted).await;
                continue;
            };
            let context = ContextBuilder::new().timeout(PATIENCE).build(link.client.clone());
            while wanted.holds() && !link.is_closed() {
                if let Some(counts) =
                    count(&context, &plan).await.filter(|counts| told.as_ref() != Some(counts))
                {
                    emit(counts.pending(plan.replicas));
                    told = Some(counts);
                }
                rest(&wanted).await;
            }
        }
    };
    thread::Builder::new()
        .name(format!("nats-census-{source_name}"))
        .spawn(move || runtime.block_on(run))
        .map_err(fault)?;
    Ok(())
}

async fn rest(wanted: &Wanted) {
    let until = Instant::now() + LOOK_EVERY;
    while wanted.holds() && Instant::now() < until {
        tokio::time::sleep(NAP).await;
    }
}

/// `None` if there is no answer, for example because there is no stream yet.
async fn count(context: &Context, plan: &Plan) -> Option<Counts> {
    let subject = &plan.dead_letters.subject;
    let stream = context.get_stream(&plan.dead_letters.stream).await.ok()?;
    let mut subjects = stream.info_with_subjects(format!("{subject}.>")).await.ok()?;
    let mut counts = Counts::new(plan);
    while let Some((own, letters)) = subjects.try_next().await.ok()? {
        let target = own.strip_prefix(subject.as_str()).and_then(|rest| rest.strip_prefix('.'));
        let slot = counts.slot(target);
        counts.add(slot, letters as u64);
    }
    Some(counts)
}
