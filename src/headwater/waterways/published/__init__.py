"""The published method, catchment by catchment (Pierson and Mehrabi 2024), for comparison."""
