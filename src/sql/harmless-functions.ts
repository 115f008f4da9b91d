/**
 * Functions of the server's own that change neither a setting nor a table, whatever they are called with, nor run a text
 * that they are given. What is not here may do anything: it is taken for a function of the user's.
 */

export const harmlessFunctions: ReadonlySet<string> = new Set(
  [
    // Aggregates and windows.
    `any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp cume_dist
  dense_rank every first_value json_agg json_agg_strict json_object_agg json_object_agg_strict
  json_object_agg_unique json_objectagg json_arrayagg jsonb_agg jsonb_agg_strict jsonb_object_agg
  jsonb_object_agg_strict jsonb_object_agg_unique lag last_value lead max min mode nth_value ntile percent_rank
  percentile_cont percentile_disc range_agg range_intersect_agg rank regr_avgx regr_avgy regr_count regr_intercept
  regr_r2 regr_slope regr_sxx regr_sxy regr_syy row_number stddev stddev_pop stddev_samp string_agg sum var_pop
  var_samp variance xmlagg`,
    // Numbers.
    `abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd
  degrees div erf erfc exp factorial float4 float8 floor gamma gcd int2 int4 int8 lcm lgamma ln log log10
  min_scale mod pi pow power radians random random_normal round scale setseed sign sin sind sinh sqrt tan tand
  tanh trim_scale trunc width_bucket`,
    // Text and bytes.
    `ascii bit_count bit_length bpchar btrim casefold char_length character_length chr concat concat_ws convert
  convert_from convert_to crc32 crc32c decode encode format get_bit get_byte initcap is_normalized left length
  lower lpad ltrim md5 name normalize octet_length parse_ident quote_ident quote_literal quote_nullable
  regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array
  regexp_split_to_table regexp_substr repeat replace reverse right rpad rtrim set_bit set_byte sha224 sha256
  sha384 sha512 split_part starts_with string_to_array string_to_table strpos substr substring text textcat
  to_ascii to_bin to_hex to_oct translate unistr upper`,
    // Dates and times.
    `age clock_timestamp date date_add date_bin date_part date_subtract date_trunc isfinite justify_days
  justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz now
  statement_timestamp timeofday timezone to_char to_date to_number to_timestamp transaction_timestamp`,
    // Arrays, ranges, sets.
    `array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
  array_prepend array_remove array_replace array_reverse array_sample array_shuffle array_sort array_to_string
  array_upper cardinality daterange generate_series generate_subscripts int4multirange int4range int8multirange
  int8range isempty lower_inc lower_inf multirange nummultirange numrange range_merge trim_array tsmultirange
  tsrange tstzmultirange tstzrange unnest upper_inc upper_inf`,
    // JSON.
    `array_to_json json_array json_array_elements json_array_elements_text json_array_length json_build_array
  json_build_object json_each json_each_text json_exists json_extract_path json_extract_path_text json_object
  json_object_keys json_populate_record json_populate_recordset json_query json_scalar json_serialize
  json_strip_nulls json_table json_to_record json_to_recordset json_typeof json_value jsonb_array_elements
  jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_concat jsonb_delete
  jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all jsonb_exists_any jsonb_extract_path
  jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_match
  jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_populate_record jsonb_populate_recordset
  jsonb_pretty jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof
  row_to_json to_json to_jsonb`,
    // Full text and XML.
    `array_to_tsvector get_current_ts_config numnode phraseto_tsquery plainto_tsquery querytree setweight strip
  to_tsquery to_tsvector ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsquery_phrase tsvector_to_array
  websearch_to_tsquery xmlcomment xmlexists xpath xpath_exists`,
    // Network, geometry, identifiers, sequences.
    `abbrev area box broadcast center circle currval diagonal diameter family gen_random_uuid height host hostmask
  inet_merge inet_same_family lastval line lseg macaddr8_set7bit masklen netmask network nextval npoints path
  point polygon radius set_masklen setval slope uuid_extract_timestamp uuid_extract_version uuidv4 uuidv7 width`,
    // The session and the catalog.
    `col_description current_database current_query current_schema current_schemas current_setting current_user
  enum_first enum_last enum_range format_type getdatabaseencoding has_any_column_privilege has_column_privilege
  has_database_privilege has_function_privilege has_schema_privilege has_sequence_privilege has_table_privilege
  has_type_privilege inet_client_addr inet_client_port inet_server_addr inet_server_port num_nonnulls num_nulls
  obj_description row_security_active session_user shobj_description to_regclass to_regnamespace to_regproc
  to_regprocedure to_regrole to_regtype txid_current txid_current_if_assigned txid_current_snapshot txid_status
  version`,
  ]
    .join(' ')
    .split(/\s+/),
)

/** Whose functions go by a prefix: the server's own administration and contrib modules, and PostGIS. */
const PREFIX = /^(?:pg|st)_/

/** Whether the function of this name, in lower case, is known to leave the meaning of other texts as it is. */
export function isHarmlessFunction(name: string): boolean {
  return harmlessFunctions.has(name) || PREFIX.test(name)
}
