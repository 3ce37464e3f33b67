// Grafana's own Prometheus data source (the npm package of its front end) asks a running davylamp.
//
//   node ask.cjs http://127.0.0.1:9940
//
// Real: everything that makes requests and reads answers. Not there: what draws (replaced by nothing), and Grafana's
// server, whose part is played here as its data source plugin does it: resource calls are carried to the same path with
// the same query or form, panels become `query_range` and `query`, the health check asks `1+1`.
// Ends with 0, or with 1 and what was not as it should be. Needs NODE_PATH with what package.json names.
'use strict';
const Module = require('module');
const assert = require('assert');

const base = process.argv[2];
const asked = [];

// --- what is not there -------------------------------------------------------------------------------------------------

const DRAWS = /^(@emotion|@floating-ui|@grafana\/(e2e-selectors|experimental|faro-web-sdk|plugin-ui|ui)|@hello-pangea|monaco|ol\b|prismjs|react-highlight-words|react-select|react-use|react-window)/;
const nothing = () => new Proxy(function () {}, {
  get: (_, key) => (key === '__esModule' ? true : key === 'prototype' ? {} : typeof key === 'symbol' ? undefined : nothing()),
  apply: nothing,
  construct: () => ({}),
});
globalThis.window = globalThis;
globalThis.location = new URL('http://localhost/');
globalThis.document = nothing();
globalThis.localStorage = { getItem: () => null, setItem() {} };

// --- Grafana's server --------------------------------------------------------------------------------------------------

async function answer(method, path, pairs) {
  const form = new URLSearchParams();
  for (const [name, value] of pairs instanceof URLSearchParams ? pairs : Object.entries(pairs || {})) {
    for (const one of Array.isArray(value) ? value : [value]) form.append(name, one);
  }
  const url = new URL(base + path);
  const post = method === 'POST';
  if (!post) for (const [name, value] of form) url.searchParams.append(name, value);
  asked.push(`${method} ${url.pathname}`);
  const reply = await fetch(url, post ? { method, body: form } : { method });
  const data = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(`${method} ${url}: ${reply.status} ${JSON.stringify(data)}`), { status: reply.status, data });
  return data;
}

const RESOURCES = /^\/api\/datasources\/uid\/lamp\/resources/;
const backend = {
  fetch: ({ url, method, data }) => {
    const { from } = require('rxjs');
    if (!RESOURCES.test(url)) throw new Error(`not a resource of the data source: ${url}`);
    return from(answer(method, url.replace(RESOURCES, ''), data).then((data) => ({ data, status: 200, ok: true })));
  },
};

/** What the server makes of a series: a frame of times and values. */
function frame(refId, type, { metric, values, value }) {
  const points = values || [value];
  return {
    refId,
    meta: { type, custom: { resultType: values ? 'matrix' : 'vector' } },
    fields: [
      { name: 'Time', type: 'time', config: {}, values: points.map(([at]) => at * 1000) },
      { name: 'Value', type: 'number', config: {}, labels: metric, values: points.map(([, text]) => Number(text)) },
    ],
    length: points.length,
  };
}

class DataSourceWithBackend {
  constructor(settings) {
    Object.assign(this, { uid: settings.uid, name: settings.name, meta: settings.meta });
  }
  query(request) {
    const { from } = require('rxjs');
    const panel = async (target) => {
      const { from: start, to: end } = request.range;
      if (target.exemplar) await answer('POST', '/api/v1/query_exemplars', { query: target.expr, start: start.unix(), end: end.unix() });
      const said = target.instant
        ? await answer('POST', '/api/v1/query', { query: target.expr, time: end.unix() })
        : await answer('POST', '/api/v1/query_range', { query: target.expr, start: start.unix(), end: end.unix(), step: 1 });
      return said.data.result.map((series) => frame(target.refId, target.instant ? 'numeric-multi' : 'timeseries-multi', series));
    };
    return from(Promise.all(request.targets.map(panel)).then((frames) => ({ data: frames.flat() })));
  }
}

const runtime = {
  DataSourceWithBackend,
  config: { featureToggles: {}, buildInfo: { version: '11.6.0' } },
  getBackendSrv: () => backend,
  getTemplateSrv: () => ({ replace: (text) => text, getVariables: () => [], getAdhocFilters: () => [], containsTemplate: () => false }),
  isFetchError: (error) => 'status' in error,
  reportInteraction() {},
};

const load = Module._load;
Module._load = function (name, ...rest) {
  if (name === '@grafana/runtime') return runtime;
  return DRAWS.test(name) ? nothing() : load.call(this, name, ...rest);
};

// --- the questions -----------------------------------------------------------------------------------------------------

const { PrometheusDatasource } = require('@grafana/prometheus');
const { dateTime, CoreApp } = require('@grafana/data');
const { lastValueFrom } = require('rxjs');

async function main(httpMethod) {
  const settings = { id: 1, uid: 'lamp', name: 'davylamp', type: 'prometheus', access: 'proxy', url: '/', meta: {}, jsonData: { httpMethod } };
  const source = new PrometheusDatasource(settings);
  const now = dateTime();
  const range = { from: dateTime(now).subtract(5, 'minutes'), to: now, raw: { from: 'now-5m', to: 'now' } };

  // "Save & test" is the server's: it asks this, and what stands behind the address.
  const health = await answer(httpMethod, '/api/v1/query', { query: '1+1', time: 4 });
  assert.deepStrictEqual(health.data, { resultType: 'scalar', result: [4, '2'] });
  const build = await answer('GET', '/api/v1/status/buildinfo', {});
  assert.match(build.data.version, /^\d+\.\d+\.\d+/);
  assert.strictEqual(build.data.features, undefined, 'it is Prometheus, not Mimir');

  // When a page opens: exemplars, recording rules.
  await source.init();
  assert.strictEqual(source.exemplarsAvailable, true);
  await source.loadRules();
  assert.deepStrictEqual(Object.keys(source.ruleMappings), ['job:up'], 'the query builder can expand recorded names');

  // The metric browser and the code editor's suggestions.
  const words = source.languageProvider;
  await words.start(range);
  assert.ok(words.metrics.includes('davylamp_target_up') && words.metrics.includes('job:up'), words.metrics.join());
  assert.strictEqual(words.metricsMetadata.davylamp_target_up.type, 'gauge');
  assert.ok(words.metricsMetadata.davylamp_target_up.help.length > 10);
  assert.ok(['__name__', 'kind', 'target'].every((name) => words.getLabelKeys().includes(name)), words.getLabelKeys().join());
  assert.deepStrictEqual(await words.fetchLabelValues('target'), ['one']);
  assert.deepStrictEqual(await words.getSeriesValues('target', '{__name__="davylamp_target_up"}'), ['one']);
  assert.ok('target' in (await words.fetchLabelsWithMatch('davylamp_target_up')));
  assert.deepStrictEqual((await words.fetchSeriesLabels('davylamp_target_up')).target, ['one']);
  assert.strictEqual((await words.fetchSeries('davylamp_target_up'))[0].target, 'one');

  // Variables of dashboards.
  const find = async (text) => (await source.metricFindQuery(text, { range })).map((found) => found.text);
  assert.deepStrictEqual(await find('label_values(davylamp_target_up, target)'), ['one']);
  assert.deepStrictEqual(await find('label_values(target)'), ['one']);
  assert.ok((await find('label_names()')).includes('target'));
  assert.ok((await find('label_names(target_up)')).includes('target'));
  assert.deepStrictEqual(await find('metrics(^davylamp_target_up$)'), ['davylamp_target_up']);
  assert.match((await find('query_result(davylamp_target_up * 2)'))[0], /target="one".* 2 \d+/);
  assert.match((await find('davylamp_target_up{target=~"o.*"}'))[0], /^davylamp_target_up\{.*target="one"/);
  assert.deepStrictEqual((await source.getTagValues({ key: 'target', filters: [], timeRange: range })).map((v) => v.text), ['one']);

  // A panel in Explore: the graph and the table.
  const target = { refId: 'A', expr: 'davylamp_target_up', range: true, instant: true, exemplar: true, legendFormat: '{{target}}' };
  const request = { app: CoreApp.Explore, requestId: '1', panelId: 1, interval: '1s', intervalMs: 1000, range, rangeRaw: range.raw, timezone: 'utc', scopedVars: {}, targets: [target], startTime: 0 };
  const { data } = await lastValueFrom(source.query(request));
  const graph = data.find((found) => found.meta.preferredVisualisationType === 'graph');
  assert.strictEqual(graph.fields[1].labels.target, 'one');
  assert.strictEqual(graph.fields[1].values.at(-1), 1);
  const table = data.find((found) => found.meta.preferredVisualisationType !== 'graph');
  assert.ok(table, JSON.stringify(data));

  // The alert list.
  const { data: { groups } } = await answer('GET', '/api/v1/rules', {});
  const alert = groups.flatMap((group) => group.rules).find((rule) => rule.type === 'alerting');
  for (const word of ['name', 'query', 'duration', 'labels', 'annotations', 'alerts', 'health', 'state', 'lastEvaluation', 'evaluationTime']) {
    assert.ok(word in alert, `an alert without ${word}`);
  }
}

(async () => {
  for (const method of ['POST', 'GET']) await main(method);
  const routes = [...new Set(asked)].sort();
  console.log(routes.join('\n'));
})().catch((error) => {
  console.error(error.stack || error);
  process.exitCode = 1;
});
