//! Metrics as text: `OpenMetrics` 1.0 for who asks for it, as Prometheus does, or Prometheus'
//! own older format, which differs in how a counter is named.

use std::borrow::Cow;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::metrics::{Family, Kind, Value};

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    /// Version 0.0.4 of Prometheus' text.
    Prometheus,
}

impl Format {
    /// What a client accepts, in the words of its `Accept` header.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The families as a page.
pub(super) fn text(families: Vec<Family>, format: Format) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families, format)));
    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Families(Vec<Family>, Format);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in &self.0 {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let is_named_whole = self.1 == Format::Prometheus && family.kind == Kind::Counter;
            let name = if is_named_whole {
                Cow::Owned(format!("{}_total", family.name))
            } else {
                Cow::Borrowed(family.name)
            };
            let mut metric = encoder.encode_descriptor(&name, family.help, None, kind)?;
            for sample in &family.samples {
                let labels = sample.labels.as_slice();
                match &sample.value {
                    Value::Counter(count) if !is_named_whole => {
                        let series = metric.encode_family(&labels)?;
                        ConstCounter::new(*count).encode(series)?;
                    }
                    // Written without an ending.
                    Value::Counter(count) | Value::Gauge(count) => {
                        let series = metric.encode_family(&labels)?;
                        ConstGauge::new(*count).encode(series)?;
                    }
                    Value::Histogram(times) => {
                        let buckets: Vec<(f64, u64)> = times.buckets().collect();
                        let (sum, count) = (times.sum_seconds(), times.count());
                        let mut series = metric.encode_family(&labels)?;
                        series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Sample;

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        let by_prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";

        assert_eq!(Format::accepted(by_prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
        assert_eq!(Format::accepted(""), Format::Prometheus);
    }

    #[test]
    fn a_page_is_what_open_metrics_says() {
        let family = |name, kind, value| Family {
            name,
            help: "What it is",
            kind,
            samples: vec![Sample {
                labels: vec![("port", "80".to_owned()), ("reason", "a\"\n".to_owned())],
                value,
            }],
        };

        let families = vec![
            family("t_calls", Kind::Counter, Value::Counter(u64::MAX)),
            family("t_sockets", Kind::Gauge, Value::Gauge(7)),
        ];

        let page = text(families.clone(), Format::OpenMetrics).expect("it is written");
        let older = text(families, Format::Prometheus).expect("it is written");

        assert_eq!(
            page,
            "# HELP t_calls What it is\n\
             # TYPE t_calls counter\n\
             t_calls_total{port=\"80\",reason=\"a\\\"\\n\"} 18446744073709551615\n\
             # HELP t_sockets What it is\n\
             # TYPE t_sockets gauge\n\
             t_sockets{port=\"80\",reason=\"a\\\"\\n\"} 7\n\
             # EOF\n"
        );
        let named_whole = |line: &str| line.replace(" t_calls ", " t_calls_total ");
        assert_eq!(older, named_whole(&page));
    }
}
